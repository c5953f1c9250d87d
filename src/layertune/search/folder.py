"""The names of the files in a study's folder that a search needs to resume."""

JOURNAL_NAME = "journal.log"
LOCK_NAME = "study.lock"
OWNER_NAME = "owner"
