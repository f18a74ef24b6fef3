"""The report: reads records, writes the leaderboard's page, tables and pictures."""
