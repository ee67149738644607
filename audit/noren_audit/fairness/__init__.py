"""Whether bands, decisions and consent fall alike on groups of people; on the premises, by the auditor."""
