"""Parts that know nothing of the agent: the offline voice and the in-memory phone line."""
