"""Resources that come with the agent."""
