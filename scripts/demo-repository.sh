#!/bin/sh
# Makes the sample repository of `make run`: demo-repository.sh DIR
#
# DIR becomes a bare git repository with a tiny project, `greeter`: its branch is `main`, and pull request 1
# (refs/pull/1/head, where forges keep it) is one commit ahead. The commits have fixed dates and authors, so that
# every run makes the same ones. A repository that is already there is left alone.
set -eu

[ $# -eq 1 ] || { echo "usage: $0 DIR" >&2; exit 2; }
case $1 in /*) target=$1 ;; *) target=$PWD/$1 ;; esac

if git --git-dir="$target" rev-parse -q --verify refs/pull/1/head >/dev/null 2>&1; then
    exit 0
fi
if [ -e "$target" ] && [ -n "$(ls -A "$target")" ]; then
    echo "$0: $target has something else in it: choose another directory or remove it" >&2
    exit 1
fi

# Made aside and moved into place when it is whole, so that a Ctrl-C leaves nothing half.
mkdir -p "$(dirname "$target")"
work=$(mktemp -d "$(dirname "$target")/.demo-repository.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# Nothing of this machine's git configuration counts.
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null GIT_TERMINAL_PROMPT=0 LC_ALL=C
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE
commit() { # MESSAGE DATE NAME
    email="$(echo "$3" | tr 'A-Z ' 'a-z.')@example.org"
    git -C "$work/greeter" add -A
    GIT_AUTHOR_NAME=$3 GIT_AUTHOR_EMAIL=$email GIT_AUTHOR_DATE=$2 GIT_COMMITTER_NAME=$3 GIT_COMMITTER_EMAIL=$email \
        GIT_COMMITTER_DATE=$2 git -C "$work/greeter" commit --quiet --message "$1"
}

git init --quiet --initial-branch=main "$work/greeter"
cd "$work/greeter"

cat >README.md <<'END'
# greeter

Says hello, and means it.

    $ ./greet
    Hello, world!
    $ ./greet Ada
    Hello, Ada!

`./test` checks that it still does.
END

cat >greet <<'END'
#!/bin/sh
# greet [NAME]: says hello to NAME, or to everybody.
echo "Hello, ${1:-world}!"
END

cat >test <<'END'
#!/bin/sh
# Runs every check, says what is wrong, and fails if anything is.
cd "$(dirname "$0")" || exit
failed=0
check() { # EXPECTED COMMAND...
    expected=$1
    shift
    actual=$("$@" 2>&1)
    if [ "$actual" = "$expected" ]; then
        echo "ok    $*"
    else
        echo "WRONG $*: expected “$expected”, got “$actual”"
        failed=1
    fi
}

check "Hello, world!" ./greet
check "Hello, Ada!" ./greet Ada
exit $failed
END
chmod +x greet test
commit "Say hello" "2026-11-02T09:00:00Z" "Ada Example"

# The pull request: good morning and good evening, with its test, and with room for a reviewer's remarks.
git checkout --quiet -b time-of-day
cat >greet <<'END'
#!/bin/sh
# greet [NAME]: says hello to NAME, or to everybody, as the hour asks for. GREET_HOUR stands in for the clock.
hour=${GREET_HOUR:-$(date +%H)}
if [ "$hour" -lt 12 ]; then
    greeting="Good morning"
elif [ "$hour" -lt 18 ]; then
    greeting="Hello"
else
    greeting="Good evening"
fi
echo "$greeting, ${1:-world}!"
END
sed -i 's|^check "Hello, world!" ./greet$|check "Good morning, world!" env GREET_HOUR=8 ./greet|
s|^check "Hello, Ada!" ./greet Ada$|check "Hello, Ada!" env GREET_HOUR=14 ./greet Ada|' test
sed -i '/^check "Hello, Ada!"/a check "Good evening, Ada!" env GREET_HOUR=21 ./greet Ada' test
commit "Greet by the time of day" "2026-11-03T10:30:00Z" "Grace Example"

git init --quiet --bare --initial-branch=main "$work/remote.git"
cd "$work/remote.git"
git config uploadpack.allowFilter true
git config uploadpack.allowAnySHA1InWant true
git fetch --quiet "$work/greeter" main:refs/heads/main time-of-day:refs/heads/time-of-day time-of-day:refs/pull/1/head
cd /
if [ -d "$target" ]; then rmdir "$target"; fi
mv "$work/remote.git" "$target"
