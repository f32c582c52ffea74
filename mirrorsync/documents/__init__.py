"""The JSON documents that mirrorsync prints, saves and reads back: values to JSON and back."""
