-- Which process of the server answers. By no index; locks nothing.
SELECT pg_backend_pid() AS backend
