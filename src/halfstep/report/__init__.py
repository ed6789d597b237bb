"""Pictures of what was learned and measured, as PNG or SVG files (the extra `halfstep[report]`)."""
