import SessionModel

/// What is said of the fields beyond their types. A path that no type has is an error that a test finds.
extension CustomResources {
    static let formats: [String: FieldRules] = [
        "TimeSpan": FieldRules(
            most: 64, pattern: #"^(([0-9]+(\.[0-9]+)?(ms|s|m|h|d|w))+|P([0-9.]+[DW])*(T([0-9.]+[HMS])+)?)$"#),
        "Timestamp": FieldRules(most: 40),
        "SessionKey": FieldRules(most: 700, pattern: #"^(pr|issue|commit):.+$"#),
        "TurnID": FieldRules(most: 24, pattern: "^t[1-9][0-9]*$"),
        "Cursor": FieldRules(most: 64),
        "OnInterrupt": FieldRules(most: 16, pattern: "^(Fail|(Retry|Continue)(:([1-9]|1[0-9]|20))?)$"),
    ]

    /// Prompts are part of the Task; etcd takes objects of at most 1.5 MB.
    private static let mostPrompt: Int64 = 256 << 10

    static let taskRules: [String: FieldRules] = merge(
        [
            "": FieldRules(description: "What is asked of an agent. It becomes exactly one turn of one session."),
            "spec": FieldRules(
                validations: [
                    (
                        "self == oldSelf",
                        "a Task cannot be changed once it is made: make another one (with supersedeKey to replace this one)"
                    )
                ]),
            "spec.prompt": FieldRules(
                description: "What the agent is to do. Longer material belongs into the repository.", minLength: 1,
                most: mostPrompt),
            "spec.scope": FieldRules(
                description: "What the session belongs to; a Task without one has a session of its own that ends with it.",
                default: ["kind": "Commit"]),
            "spec.lifetime": FieldRules(description: "For a session that this Task makes; ignored when the session exists."),
            "spec.idempotencyKey": FieldRules(
                description: "The same key never makes a second turn in one session. Default: the Task's uid.", minLength: 1,
                most: 256),
            "spec.turn": FieldRules(
                validations: [
                    (
                        "!has(self.whenBusy) || self.whenBusy != 'Supersede' || has(self.supersedeKey)",
                        "whenBusy Supersede needs a supersedeKey: which turns it takes the place of"
                    )
                ]),
            "spec.turn.supersedeKey": FieldRules(minLength: 1, most: 256),
            "spec.turn.model": FieldRules(minLength: 1, most: 256),
            "spec.turn.effort": FieldRules(minLength: 1, most: 256),
            "status.results.answer": FieldRules(description: "The agent's last message, cut.", most: 32 << 10),
            "status.message": FieldRules(description: "Why it waits, or how it ended.", most: 32 << 10),
        ],
        scope("spec.scope"), workspace("spec.workspace"), worker("spec.worker"), workspaceState("status.results.workspace"))

    static let sessionRules: [String: FieldRules] = merge(
        [
            "": FieldRules(
                description: "An agent's conversation, working directory and queue of turns. It outlives its pods."),
            "spec": FieldRules(
                validations: [
                    ("self.key == oldSelf.key", "the key says which session it is and cannot be changed"),
                    ("self.scope == oldSelf.scope", "the scope of a session cannot be changed: make another session"),
                    (
                        "!has(oldSelf.end) || !oldSelf.end || (has(self.end) && self.end)",
                        "a session that was told to end cannot be brought back: the next Task makes a new one"
                    ),
                    (
                        "has(self.workspace) == has(oldSelf.workspace)",
                        "a session keeps its working directory: make another session for another workspace"
                    ),
                ]),
            "spec.suspend": FieldRules(description: "True keeps it asleep until it is set to false or a Task wakes it."),
            "spec.end": FieldRules(
                description: "True asks for its end: it is drained, then its processes go and its transcript stays."),
            "spec.worker": FieldRules(
                validations: [
                    ("self.driver == oldSelf.driver", "a session keeps its kind of agent: make another session for another one")
                ]),
            "spec.workspace": FieldRules(
                validations: [
                    (
                        "self.repository == oldSelf.repository",
                        "a session keeps its repository: make another session for another one"
                    )
                ]),
            "status.message": FieldRules(description: "Why it is in this phase.", most: 32 << 10),
            "status.conditions": FieldRules(most: 32, listKey: "type"),
            "status.conditions[].message": FieldRules(most: 32 << 10),
            "status.activity.awaitingInput.question": FieldRules(most: 32 << 10),
        ],
        scope("spec.scope"), workspace("spec.workspace"), worker("spec.worker"), workspaceState("status.workspace"))

    static let spawnerRules: [String: FieldRules] = merge(
        [
            "": FieldRules(
                description: "Makes Tasks of a forge's events; each comes to the session of its pull request or issue."),
            "spec.when": FieldRules(
                validations: [("has(self.githubWebhook)", "when names no trigger: give when.githubWebhook")]),
            "spec.when.githubWebhook.repository": FieldRules(
                description: "owner/name or host/owner/name; * stands for any characters.", most: 512,
                pattern: #"^[^/\s]+(/[^/\s]+)+$"#),
            "spec.when.githubWebhook.events": FieldRules(
                most: 16,
                validations: [
                    (
                        "size(self) > 0 && self.all(event, event in ["
                            + GitHubWebhook.knownEvents.map { "'\($0)'" }.joined(separator: ", ") + "])",
                        "name events of which Tasks are made: " + GitHubWebhook.knownEvents.joined(separator: ", ")
                    )
                ]),
            // The server counts what a rule may cost from the longest text that there may be.
            "spec.when.githubWebhook.events[]": FieldRules(most: 64),
            "spec.when.githubWebhook.filters": FieldRules(
                description: "An event must fit one of those for its kind. Without any for its kind it fits.", most: 64),
            "spec.when.githubWebhook.allow.teams[]": FieldRules(most: 256, pattern: "^[^/]+/[^/]+$"),
            "spec.taskTemplate.prompt": FieldRules(
                description:
                    "Mustache. A name that no event has makes the Spawner not Ready. Default: what happened, with all its texts.",
                minLength: 1, most: 64 << 10),
            "spec.taskTemplate.turn": FieldRules(
                validations: [
                    (
                        "!has(self.whenBusy) || self.whenBusy != 'Reject'",
                        "whenBusy Reject would drop events: take Queue or Supersede"
                    )
                ]),
            "spec.maxConcurrentSessions": FieldRules(
                description: "Events of further sessions wait until one of so many has gone to sleep or ended.", minimum: 1),
            "spec.suspend": FieldRules(description: "True makes nothing of events that come from now on."),
            "spec.profile": FieldRules(minLength: 1, most: 63),
            "status.conditions": FieldRules(most: 32, listKey: "type"),
            "status.conditions[].message": FieldRules(most: 32 << 10),
        ],
        access("spec.taskTemplate"), worker("spec.taskTemplate.worker"))

    private static func scope(_ path: String) -> [String: FieldRules] {
        [
            path: FieldRules(
                validations: [
                    (
                        "self.kind == 'Commit' || (has(self.repository) && has(self.number))",
                        "scope PullRequest and Issue need a repository (host/owner/name) and a number"
                    )
                ]),
            path + ".repository": FieldRules(
                description: "host/owner/name; owner/name means github.com.", minLength: 1, most: 512),
            path + ".number": FieldRules(description: "Of the pull request or issue.", minimum: 1),
            path + ".sha": FieldRules(most: 64, pattern: "^[0-9a-fA-F]{7,64}$"),
            path + ".profile": FieldRules(
                description: "Keeps a reviewer and a fixer of one pull request apart.", most: 63,
                pattern: "^[A-Za-z0-9._-]{1,63}$"),
        ]
    }

    private static func workspace(_ path: String) -> [String: FieldRules] {
        [
            path + ".repository": FieldRules(description: "Any URL that git can clone.", minLength: 1),
            path + ".ref": FieldRules(
                description: "A branch or commit; without one, what the scope says.", minLength: 1, most: 256),
        ].merging(access(path)) { own, _ in own }
    }

    /// How a repository is reached and set up.
    private static func access(_ path: String) -> [String: FieldRules] {
        [
            path + ".credentials": FieldRules(
                description: "The forge's token for the repository. The git gateway alone knows it.",
                validations: [
                    ("!has(self.tokenFile)", "tokenFile is for local mode: name a Secret in secretRef"),
                    ("has(self.secretRef)", "name the Secret with the forge's token in secretRef"),
                ]),
            path + ".credentials.secretRef.name": FieldRules(
                description: "A Secret of this namespace whose key GITHUB_TOKEN holds the forge's token.", minLength: 1, most: 253
            ),
            path + ".push": FieldRules(description: "What the session may push beside its own branch."),
            path + ".push.branches[]": FieldRules(minLength: 1, most: 256),
            path + ".push.protected[]": FieldRules(minLength: 1, most: 256),
            path + ".setupCommand": FieldRules(
                description: "Run with sh -c in the working directory at every start of a pod.", most: 32 << 10),
        ]
    }

    private static func worker(_ path: String) -> [String: FieldRules] {
        [
            path + ".command[]": FieldRules(most: 8192),
            path + ".env": FieldRules(
                description:
                    "Added to the agent's environment. Everyone who may read the object reads it: secrets go into credentials.",
                validations: [noForgeToken]),
            path + ".env.*": FieldRules(most: 8192),
            path + ".credentials": FieldRules(
                description: "The agent's secrets: files that are read whenever it starts.",
                validations: [
                    (
                        "has(self.expose) ? has(self.token) || has(self.secretRef) : !has(self.token)",
                        "the agent gets the forge's token by expose: Token, and credentials.token or the key GITHUB_TOKEN of credentials.secretRef has it"
                    )
                ]),
            path + ".credentials.env": FieldRules(
                description: "The names of variables and the files that hold their values.", validations: [noForgeToken]),
            path + ".credentials.expose": FieldRules(
                description: "Token gives the agent the forge's token itself, past the git gateway; the Session shows it."),
            path + ".image": FieldRules(
                description: "The agent's container image; it runs as user 61100. Default: the supervisor's.", minLength: 1,
                most: 1024),
            path + ".podTemplate": FieldRules(
                description:
                    "A partial PodTemplateSpec, merged onto the session's pod as kubectl patch --type strategic does: resources, node placement, more containers and volumes."
            ),
            path + ".storage": FieldRules(
                description:
                    "Where journal and working directory are. Default: PersistentVolumeClaim for a pull request or an issue, EmptyDir for a commit."
            ),
            path + ".volumeClaimTemplate": FieldRules(
                description: "A partial PersistentVolumeClaimSpec, merged onto the session's: its size, its class."),
            path + ".credentials.secretRef.name": FieldRules(
                description: "A Secret of this namespace: each key is a variable of the agent's environment.", minLength: 1,
                most: 253),
            path + ".credentials.directory": FieldRules(
                description: "On one machine: a directory in which each file is a variable of the agent's environment."),
            path + ".systemPrompt": FieldRules(description: "Added to the agent's own instructions.", most: 64 << 10),
            path + ".mcpServers.*": FieldRules(
                validations: [("has(self.command) != has(self.url)", "an MCP server has either a command or a url")]),
            path + ".mcpServers.*.env": FieldRules(validations: [noForgeToken]),
        ]
    }

    private static let noForgeToken = (
        rule: "!(" + AgentCredentials.forgeVariables.map { "'\($0)' in self" }.joined(separator: " || ") + ")",
        message: "an agent gets the forge's token by credentials.token and expose: Token only, so that its session shows it"
    )

    private static func workspaceState(_ path: String) -> [String: FieldRules] {
        [path + ".dirtyFiles": FieldRules(description: "At most 100 of them.", most: 100)]
    }

    /// Of two rules for one field the later one adds to the earlier one.
    private static func merge(_ tables: [String: FieldRules]...) -> [String: FieldRules] {
        tables.dropFirst().reduce(tables[0]) { all, table in
            all.merging(table) { first, second in
                var both = first
                both.description = first.description ?? second.description
                both.default = first.default ?? second.default
                both.minimum = first.minimum ?? second.minimum
                both.minLength = first.minLength ?? second.minLength
                both.most = first.most ?? second.most
                both.pattern = first.pattern ?? second.pattern
                both.listKey = first.listKey ?? second.listKey
                both.validations += second.validations
                return both
            }
        }
    }
}
