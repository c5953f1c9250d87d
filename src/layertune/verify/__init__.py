"""Verification of an exported pick: starts its servers, puts them under load and checks them against the study."""
