"""Images and videos from elsewhere: topics and cameras through the gateway, results out.

`topics` reads images, or references to them, from topics of users; `videos` reads files, streams
and cameras. `service` runs both. A plain client of the gateway; PyAV is imported only when a source
is opened.
"""
