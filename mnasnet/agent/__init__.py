"""The agent: times model files that are sent to a device, with nothing but numpy and a runtime installed there."""
