"""Who trains what: processes of one machine by claims, machines that share a record by leases."""
