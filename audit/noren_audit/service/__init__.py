"""The auditor's signed word on the state of the service."""
