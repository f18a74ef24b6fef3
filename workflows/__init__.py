"""The rules, the suites and the plan."""
