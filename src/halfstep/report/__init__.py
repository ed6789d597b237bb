"""Pictures of what was learned and measured, and reports of models (the extra `halfstep[report]`)."""

from halfstep.report.write import write_report

__all__ = ["write_report"]
