"""Install virtual appliances (OVA/OVF packages) on hypervisors: verified, exact, close to the speed of the disk."""
