"""Who may use the APIs: bearer tokens, signed with the keys of `settings.auth`, and the scopes in them.

Reading order: keys (settings become keys, a token becomes claims), caller (what the claims allow), gate (a request's head
becomes a caller, or an error), exposure (a server without keys stays on this machine), mint (a token for development).
What an API does with the caller is its own: `read_api.access`, `command_api.acting`.
"""
