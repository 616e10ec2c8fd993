"""Recording a simulator: demonstrations with recoveries, failures, and branches from one state."""
