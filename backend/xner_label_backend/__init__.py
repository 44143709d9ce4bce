"""The Label Studio ML backend: the protocol of Label Studio 1.23 over HTTP."""
