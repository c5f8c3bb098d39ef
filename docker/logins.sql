-- Logins of the services that use Postgres, each with the rights of its role and no more. It may run
-- again: it sets the passwords to those of the environment.
\set ON_ERROR_STOP on
\getenv command_password COMMAND_PASSWORD
\getenv projector_password PROJECTOR_PASSWORD
\getenv query_password QUERY_PASSWORD
\getenv integration_password INTEGRATION_PASSWORD

SELECT 'CREATE ROLE command LOGIN IN ROLE ledger_read'
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'command') \gexec
SELECT 'CREATE ROLE projector LOGIN IN ROLE ledger_project'
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'projector') \gexec
SELECT 'CREATE ROLE query LOGIN IN ROLE ledger_read'
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'query') \gexec
ALTER ROLE command PASSWORD :'command_password';
ALTER ROLE projector PASSWORD :'projector_password';
ALTER ROLE query PASSWORD :'query_password';

-- The service that takes messages in is not everywhere.
SELECT :'integration_password' <> '' AS has_integration \gset
\if :has_integration
SELECT 'CREATE ROLE integration LOGIN IN ROLE ledger_integrate'
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'integration') \gexec
ALTER ROLE integration PASSWORD :'integration_password';
-- To publish, it reads the views.
GRANT ledger_read TO integration;
\endif
