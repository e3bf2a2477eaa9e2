"""From a job to a recording: workers, their queue and leases, and the engine that trains."""
