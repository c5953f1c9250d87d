"""How much of the device's memory is in use: probes behind one protocol. Importing this loads no driver."""
