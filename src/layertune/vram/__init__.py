"""Probes of the memory in use on a device, behind one protocol. Importing this package loads no driver."""
