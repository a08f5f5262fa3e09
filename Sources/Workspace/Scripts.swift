/// What the workspace does with the directory itself. It runs beside the agent, through the host like git does: the sidecar may
/// have neither the files nor the right to touch them.
enum Scripts {
    /// Prints what stands at $1: `absent`, `empty`, `foreign` (files and no .git) or `checkout` and the operations in progress.
    /// Removes what a clone that was cut off left at $2, and with $3 = `stale` the locks of a git that is dead.
    static let locate = """
        rm -rf "$2" || exit
        if [ -e "$1/.git" ]; then
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
            [ -e MERGE_HEAD ] && echo merge
            { [ -e rebase-merge ] || [ -e rebase-apply ]; } && echo rebase
            [ -e CHERRY_PICK_HEAD ] && echo cherry-pick
            [ -e REVERT_HEAD ] && echo revert
            [ -e BISECT_LOG ] && echo bisect
            exit 0
        fi
        [ -e "$1" ] || { echo absent; exit; }
        cd "$1" || exit
        for entry in * .[!.]* ..?*; do
            if [ -e "$entry" ] || [ -L "$entry" ]; then echo foreign; exit; fi
        done
        echo empty
        """

    /// Puts the finished clone $1 in its place $2 in one step. What it holds is on the disk before its name says that it is whole.
    static let publish = """
        sync -f "$1" 2>/dev/null || sync
        if [ -d "$2" ]; then rmdir "$2" || exit; fi
        mv "$1" "$2"
        """
}
