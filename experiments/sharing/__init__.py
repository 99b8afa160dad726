"""Who trains what: processes of one machine by reservations, machines that share a record by leases."""
