#!/usr/bin/env bash
# Breaks the machines' rules one after the other (scripts/mutations.txt) and runs the simulation on each: it must fail.
# SEEDS=1..20000 are the runs that each gets at most; ONLY=text takes the mutations whose names contain it, FIRST=n and LAST=n those
# from one to the other.
set -uo pipefail
cd "$(dirname "$0")/.."
root=$PWD
tree=$root/.build/mutants
list=$root/scripts/mutations.txt

# A package of its own with what the simulation needs: it is built without servers and databases.
rm -rf "$tree/Sources" "$tree/unbroken" && mkdir -p "$tree/Sources" "$tree/unbroken"
cp -r Sources/SessionModel Tests/Seeds Tests/Simulation Sources/Executables/holdfast-simulate "$tree/Sources/"
cp -r Sources/SessionModel "$tree/unbroken/"
cp Package.resolved "$tree/" 2>/dev/null
crypto=$(grep -o '\.package(url: "[^"]*swift-crypto"[^)]*)' Package.swift)
cat >"$tree/Package.swift" <<EOF
// swift-tools-version: 6.2
import PackageDescription
let settings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"), .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"), .unsafeFlags(["-O"]),
]
let package = Package(
    name: "mutants", platforms: [.macOS(.v15)], dependencies: [$crypto],
    targets: [
        .target(name: "SessionModel", dependencies: [.product(name: "Crypto", package: "swift-crypto")], swiftSettings: settings),
        .target(name: "Seeds", swiftSettings: settings),
        .target(name: "Simulation", dependencies: ["Seeds", "SessionModel"], swiftSettings: settings),
        .executableTarget(name: "holdfast-simulate", dependencies: ["Simulation"], swiftSettings: settings),
    ])
EOF
build() { (cd "$tree" && "${SWIFT:-swift}" build --product holdfast-simulate >"$tree/build.log" 2>&1); }
simulate() { timeout 300 "$tree/.build/debug/holdfast-simulate" "${SEEDS:-1..20000}" >"$tree/run.log" 2>&1; }

build || { cat "$tree/build.log"; exit 1; }
simulate || { cat "$tree/run.log"; echo "the simulation fails with no rule broken" >&2; exit 1; }
echo "unbroken: $(tail -1 "$tree/run.log")"

caught=0 missed=""
count=$(grep -c '^== ' "$list")
for number in $(seq "${FIRST:-1}" "${LAST:-$count}"); do
  name=$(grep '^== ' "$list" | sed -n "${number}s/^== //p")
  case "$name" in *"${ONLY:-}"*) ;; *) continue ;; esac
  # Exact text, exactly once; a mutation that no longer fits its file is an error and not a pass.
  file=$(NUMBER=$number perl -0777 -e '
    my @blocks = split /^== /m, do { local $/; <> };
    my ($name, $file, $rest) = split /\n/, $blocks[$ENV{NUMBER}], 3;
    my ($old, $new) = split /^---\n/m, $rest;
    s/\n+\z// for $old, $new;
    my $path = "'"$tree"'/Sources/SessionModel/$file";
    open my $in, "<", $path or die "$path: $!"; my $text = do { local $/; <$in> }; close $in;
    my $times = () = $text =~ /\Q$old\E/g;
    die "“$name” fits $file $times times\n" if $times != 1;
    $text =~ s/\Q$old\E/$new/;
    open my $out, ">", $path or die $!; print $out $text; close $out;
    print $file;' "$list") || exit 1
  if ! build; then
    grep error: "$tree/build.log" | head -3
    echo "“$name” does not compile" >&2
    exit 1
  fi
  simulate
  status=$?
  if [ "$status" -eq 0 ]; then
    missed="$missed\n  $name"
    printf 'MISSED  %s\n' "$name"
  else
    caught=$((caught + 1))
    # A mutation may also keep a run from ever ending.
    [ "$status" -ne 124 ] || echo "a run does not end" >"$tree/run.log"
    printf 'caught  %-80s %s\n' "$name" "$(head -1 "$tree/run.log" | cut -c1-100)"
  fi
  cp "$tree/unbroken/SessionModel/$file" "$tree/Sources/SessionModel/$file"
done
echo "$caught caught$([ -z "$missed" ] || printf ', missed:%b' "$missed")"
[ -z "$missed" ]
