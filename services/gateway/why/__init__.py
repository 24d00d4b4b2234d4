"""Why something is as it is: the decisions' inputs, put into words, from the log and from the scheduler's answer."""
