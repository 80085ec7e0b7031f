-- The database roles of Gatehouse, and its database. A superuser runs this once for each server:
--
--   psql -X -v ON_ERROR_STOP=1 -d postgres -f approvals/db/roles.sql
--
-- psql asks for the four passwords. (A script may hand them over instead: \set lines for owner_password,
-- web_password, worker_password and admin_password, ahead of this file on standard input.) It is safe to
-- repeat: what exists is kept, the attributes below and the passwords are set again. Then tell Gatehouse:
--
--   DATABASE_URL=postgresql://gatehouse_web:...@host/gatehouse             pages and sockets
--   DATABASE_WORKER_URL=postgresql://gatehouse_worker:...@host/gatehouse   agents
--   DATABASE_OWNER_URL=postgresql://gatehouse_owner:...@host/gatehouse     migrations
--   DATABASE_ADMIN_URL=postgresql://gatehouse_admin:...@host/gatehouse     operators, across tenants
--
--   role               signs in  is for
--   gatehouse_owner    yes       migrations and tests (hence CREATEDB). Owns the tables; FORCE ROW LEVEL
--                                SECURITY binds it all the same
--   gatehouse_web      yes       the web processes: one tenant at a time
--   gatehouse_worker   yes       the workers: one tenant at a time; the only writer of checkpoints
--   gatehouse_admin    yes       operators' pages, across tenants: BYPASSRLS
--   gatehouse_sweeper  no        owns the SECURITY DEFINER functions that sweep across tenants and return
--                                ids only: BYPASSRLS
--
-- What each may do with a table is said by the migrations, not here, so that a test database has it too.
-- Web and worker refuse to start on a role that is a superuser or bypasses row-level security.

\if :{?owner_password} \else \prompt 'Password for gatehouse_owner: ' owner_password
\endif
\if :{?web_password} \else \prompt 'Password for gatehouse_web: ' web_password
\endif
\if :{?worker_password} \else \prompt 'Password for gatehouse_worker: ' worker_password
\endif
\if :{?admin_password} \else \prompt 'Password for gatehouse_admin: ' admin_password
\endif

SET client_min_messages = warning;  -- granting again what is granted is no news
SET log_statement = 'none';         -- the statements below hold passwords
SET log_min_error_statement = 'panic';

BEGIN;
SELECT format('CREATE ROLE %I', name)
  FROM unnest(ARRAY['gatehouse_owner', 'gatehouse_web', 'gatehouse_worker', 'gatehouse_admin', 'gatehouse_sweeper']) AS name
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name)
\gexec

ALTER ROLE gatehouse_owner   LOGIN   NOSUPERUSER CREATEDB   NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD :'owner_password';
ALTER ROLE gatehouse_web     LOGIN   NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD :'web_password';
ALTER ROLE gatehouse_worker  LOGIN   NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD :'worker_password';
ALTER ROLE gatehouse_admin   LOGIN   NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION BYPASSRLS   PASSWORD :'admin_password';
ALTER ROLE gatehouse_sweeper NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION BYPASSRLS;

-- Migrations hand functions to the sweeper, and tests SET ROLE to what the processes run as.
GRANT gatehouse_sweeper, gatehouse_web, gatehouse_worker TO gatehouse_owner;
COMMIT;

-- CREATE DATABASE cannot be part of a transaction, so a run cut off here is completed by the next one.
SELECT 'CREATE DATABASE gatehouse OWNER gatehouse_owner ENCODING ''UTF8'' TEMPLATE template0'
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'gatehouse')
\gexec
ALTER DATABASE gatehouse OWNER TO gatehouse_owner;
REVOKE ALL ON DATABASE gatehouse FROM PUBLIC;
GRANT CONNECT ON DATABASE gatehouse TO gatehouse_web, gatehouse_worker, gatehouse_admin;
