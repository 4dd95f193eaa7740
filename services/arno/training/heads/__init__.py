"""Train heads on the vision encoder, and judge them: `arno train --head`, `arno eval` of a head."""
