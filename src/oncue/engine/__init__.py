"""The one inference engine: batching, KV cache, drafts, lookahead, bounded context."""
