/// What the workspace does with the directory itself. It runs beside the agent, through the host like git does: the sidecar may
/// have neither the files nor the right to touch them.
enum Scripts {
    /// All that a follow-up turn needs and that is done one after the other, in one process, because each costs a round trip to the
    /// host. ``FollowReport`` reads what it prints.
    ///
    /// - What stands at $1: `absent`, `empty`, `foreign` (files and no .git) or `checkout` and the operations in progress. What a
    ///   clone that was cut off left at $2 is removed, and with $3 = `stale` the locks of a git that is dead.
    /// - The remote's address is set to $4, unless that is empty, and with it the file of settings $5, if there is one.
    /// - Where HEAD is, and whether it has commits that the remote does not have. Asked before the fetch, which forgets what the
    ///   remote had.
    /// - The refspecs $7… are fetched.
    /// - Where the followed ref $6, by default that of the default branch, is then, and the last one that the tree had.
    static let follow = #"""
        if [ -e "$2" ] || [ -L "$2" ]; then rm -rf "$2" || exit; fi
        if [ ! -e "$1/.git" ]; then
            [ -e "$1" ] || { echo absent; exit; }
            cd "$1" || exit
            for entry in * .[!.]* ..?*; do
                if [ -e "$entry" ] || [ -L "$entry" ]; then echo foreign; exit; fi
            done
            echo empty
            exit
        fi
        if [ "$3" = stale ]; then
            unlock() { for entry in "$1"/*; do
                case $entry in *.lock) [ -f "$entry" ] && rm -f "$entry" ;; esac
                if [ -d "$entry" ] && [ ! -L "$entry" ]; then unlock "$entry"; fi
            done; }
            rm -f "$1"/.git/*.lock
            rm -rf "$1"/.git/objects/pack/tmp_* "$1"/.git/objects/tmp_objdir-*
            unlock "$1/.git/refs"
        fi
        echo checkout
        cd "$1/.git" || exit
        [ ! -e MERGE_HEAD ] || echo merge
        if [ -e rebase-merge ] || [ -e rebase-apply ]; then echo rebase; fi
        [ ! -e CHERRY_PICK_HEAD ] || echo cherry-pick
        [ ! -e REVERT_HEAD ] || echo revert
        [ ! -e BISECT_LOG ] || echo bisect

        cd "$1" || exit
        directory=$1 address=$4 settings=$5 remote=$6 last=\#(last)
        shift 6
        git() {
            command git -c \#(Git.settings.joined(separator: " -c ")) -c safe.directory="$directory" \
                ${settings:+-c "include.path=$settings"} "$@"
        }

        echo @config
        if [ -n "$address" ]; then
            git config --replace-all remote.origin.url "$address" || exit
            [ -z "$settings" ] || git config --replace-all include.path "$settings" || exit
        fi
        if [ -z "$remote" ] && branch=$(git config --get holdfast.branch); then
            echo "default $branch"
            remote=refs/remotes/origin/$branch
        fi

        # The commit that a ref is at, without a process of git's where it is a file of its own.
        at() {
            read -r commit 2>/dev/null <".git/$1" || commit=
            case $commit in "" | *[!0-9a-f]*) commit=$(git rev-parse --quiet --verify "$1" 2>/dev/null) ;; esac
        }

        # Before the fetch, which forgets what the remote had. HEAD is mostly a commit that it has or had as its head.
        echo @rev-list
        read -r commit branch 2>/dev/null <.git/HEAD || commit=
        [ "$commit" != ref: ] || at "$branch"
        case $commit in "" | *[!0-9a-f]*) head=none ;; *) head=$commit; echo "head $head" ;; esac
        at "$last"
        [ "$commit" = "$head" ] || at "${remote:-$last}"
        if [ "$commit" != "$head" ]; then
            unpushed=$(git rev-list --max-count=1 HEAD --not --remotes=origin --glob=refs/holdfast/remote/ 2>&1) || {
                code=$?
                if git rev-parse --quiet --verify HEAD >/dev/null 2>&1; then echo "$unpushed" >&2; exit "$code"; fi
                unpushed=  # There is no commit yet.
            }
            [ -z "$unpushed" ] || echo unpushed
        fi
        echo @fetch
        git fetch \#(fetchOptions.joined(separator: " ")) -- origin "$@" || exit
        [ -n "$remote" ] || exit 0
        at "$remote"
        echo "remote $commit"
        at "$last"
        echo "last $commit"
        """#

    /// The last head of the remote that the working tree had.
    static let last = "refs/holdfast/remote/last"

    static let fetchOptions = [
        "--quiet", "--prune", "--no-write-fetch-head", "--no-recurse-submodules", "--no-auto-maintenance",
    ]

    /// Puts the finished clone $1 in its place $2 in one step. What it holds is on the disk before its name says that it is whole.
    static let publish = """
        sync -f "$1" 2>/dev/null || sync
        if [ -d "$2" ]; then rmdir "$2" || exit; fi
        mv "$1" "$2"
        """
}
