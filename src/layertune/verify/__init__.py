"""Verifies an exported pick: starts its servers, puts them under load and compares them with the study."""
