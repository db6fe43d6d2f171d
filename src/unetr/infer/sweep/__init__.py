"""Sliding-window inference: windows, blending, scores, and the way back to the scan's grid. Knows arrays only."""
