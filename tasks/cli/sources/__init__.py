"""The sources that commands take: arguments, folders and manifests, and the names of their outputs."""
