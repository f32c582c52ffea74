"""The nouns: values of the OCI image and distribution specs. No I/O, no asyncio."""
