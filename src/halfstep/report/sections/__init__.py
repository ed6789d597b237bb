"""The sections of a report: each file answers one question, with figures and tables."""
