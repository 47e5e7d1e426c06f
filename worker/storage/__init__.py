"""Sources and outputs: addresses, access policy, local files, object stores and web servers."""
