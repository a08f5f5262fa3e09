extension TaskSpec {
    /// What is wrong with it, as one sentence; nil when nothing is.
    public var mistake: String? {
        if let mistake = turnRequest.mistake { return mistake }
        if prompt.utf8.count > Self.maxPromptBytes {
            return "prompt has \(prompt.utf8.count) bytes; at most \(Self.maxPromptBytes) are taken"
        }
        if let key = idempotencyKey, key.isEmpty || key.utf8.count > 512 { return "idempotencyKey must have 1 to 512 bytes" }
        if let seconds = ttlSecondsAfterFinished, seconds < 0 { return "ttlSecondsAfterFinished must not be negative" }
        if let scope {
            if scope.kind == .commit, scope.number != nil { return "scope.number has no meaning in a commit scope" }
            if let sha = scope.sha, !(7...64).contains(sha.utf8.count) || !sha.allSatisfy(\.isHexDigit) {
                return "scope.sha “\(sha)” is not a commit's object name"
            }
        }
        if let mistake = worker?.mistake ?? lifetime?.mistake { return mistake }
        guard let workspace else { return nil }
        if workspace.repository.isEmpty { return "workspace.repository is empty: name a URL or a path that git can clone" }
        if let mistake = workspace.accessMistake { return mistake }
        return WorkspaceDescription(
            repository: workspace.repository, branch: workspace.ref, mirror: workspace.mirror,
            setupCommand: workspace.setupCommand
        ).mistake
    }

    /// What the session's sidecar is asked to do for it.
    public var turnRequest: TurnRequest {
        TurnRequest(
            prompt: prompt, whenBusy: turn?.whenBusy, supersedeKey: turn?.supersedeKey, timeout: turn?.timeout,
            model: turn?.model, effort: turn?.effort, onInterrupt: turn?.onInterrupt, raw: turn?.raw)
    }

    public static let maxPromptBytes = 1 << 20
}

extension WorkspaceSpec {
    /// What is wrong with how the repository is reached, as one sentence; nil when nothing is.
    var accessMistake: String? {
        guard let credentials else {
            return push == nil ? nil : "workspace.push needs workspace.credentials: a token to push with"
        }
        switch (credentials.tokenFile, credentials.secretRef) {
        case (let file?, nil):
            guard file.hasPrefix("/"), !file.contains("\0") else {
                return "workspace.credentials.tokenFile must be the absolute path of a file that holds the forge's token"
            }
        case (nil, let secret?):
            if secret.name.isEmpty { return "workspace.credentials.secretRef.name is empty" }
        case (nil, nil), (_?, _?):
            return
                "workspace.credentials needs either tokenFile (on one machine) or secretRef (in a cluster): where the forge's token is"
        }
        guard repository.hasPrefix("https://") || repository.hasPrefix("http://") else {
            return "workspace.credentials are for https:// and http:// repositories, and “\(repository)” is none"
        }
        if Secrets.password(inURL: repository) != nil {
            return "workspace.repository has a password and workspace.credentials a token: leave the password out"
        }
        // It becomes a line of git's configuration.
        if repository.contains(where: { $0.isWhitespace || "\"\\#;?".contains($0) }) {
            return "workspace.repository “\(repository)” has a character that no repository's address has"
        }
        for name in (push?.branches ?? []) + (push?.protected ?? []) where name.isEmpty || name.hasPrefix("refs/") {
            return "workspace.push has “\(name)”: give a branch by its name, such as feature/x"
        }
        return nil
    }
}
