"""The names of the files in a study's folder that a search needs to go on."""

JOURNAL_NAME = "journal.log"
LOCK_NAME = "study.lock"
OWNER_NAME = "owner"
