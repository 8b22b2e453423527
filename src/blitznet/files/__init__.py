"""Reading files from outside within limits, and writing files whole or not at all."""
