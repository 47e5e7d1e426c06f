"""The console: a web page of the HTTP API for operators and for people who transcribe recordings.

The page is plain HTML, CSS and JavaScript in the folder `static`, without a build step and without other servers.
"""
