"""The network in OpenVINO: made, and checked before OpenVINO reads it."""
