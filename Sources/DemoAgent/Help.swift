/// What `--help` prints.
let help = """
    holdfast-demo-agent: a demonstration agent for Holdfast. It speaks the Agent Client Protocol, version 1, on its standard
    streams, remembers its conversations on disk, and carries out the commands that it finds in a prompt. There is no language
    model in it.

    USAGE: holdfast-demo-agent [--hang-at-start] [--exit-at-start CODE]

      --hang-at-start        say nothing, ever
      --exit-at-start CODE   end at once with this exit code
      --help                 this text

    ENVIRONMENT
      HOLDFAST_AGENT_STATE   where conversations are kept (default: $HOME/.holdfast-demo-agent)

    COMMANDS, one per line of a prompt; every other line is plain text
      run: COMMAND                 run a shell command
      write: PATH | TEXT           write a file; \\n, \\t and \\\\ are written out
      append: PATH | TEXT          add to the end of a file
      edit: PATH | OLD => NEW      replace the first OLD in a file
      read: PATH                   show a file
      think: SECONDS [TEXT]        think, and show the thoughts
      say: TEXT                    say something
      say-slowly: SECONDS TEXT     say it word by word
      plan: A; B; C                show a plan
      ask: QUESTION                ask for permission; a refusal ends the script
      fail: MESSAGE                end the turn with an error
      refuse:                      end the turn with a refusal

    MISBEHAVIOUR, to test what runs the agent
      crash: CODE                  exit at once
      hang:                        never answer, not even a cancellation
      noise: BYTES                 print that much that is not the protocol
      longline: BYTES              print one line of that length
      invalid-utf8:                print bytes that are not UTF-8, then say something with one in it
      stderr: TEXT                 print to standard error
      orphan: SECONDS              leave a sleeping process behind, in a session of its own
      ignore-sigterm:              ignore SIGTERM from now on

    """
