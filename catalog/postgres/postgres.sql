-- Written by Phoenix; holds passwords. Makes what is missing and drops nothing. It goes to the server on standard input, so
-- that no password is in a list of processes, and the server does not log it.
\set VERBOSITY terse
SET client_min_messages = warning;
SET log_statement = 'none';
SET log_min_duration_statement = -1;
SET log_min_error_statement = 'panic';
SET password_encryption = 'scram-sha-256';
{% for name, user in users|items %}

SELECT format('CREATE ROLE %I', {{ name | sql }})
	WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {{ name | sql }}) \gexec
SELECT format('ALTER ROLE %I LOGIN NOSUPERUSER CONNECTION LIMIT {{ user.connections if user.connections is defined else -1 }} PASSWORD %L', {{ name | sql }}, {{ user.password | sql }}) \gexec
{% endfor %}
{% for name, database in databases|items %}
{% if database.owner not in users %}{{ fail("the database " ~ name ~ " has the owner " ~ database.owner ~ ", who is none of the users") }}{% endif %}

SELECT format('CREATE DATABASE %I TEMPLATE template0 ENCODING ''UTF8'' LC_COLLATE %2$L LC_CTYPE %2$L', {{ name | sql }}, {{ (database.locale if database.locale is defined else "C.UTF-8") | sql }})
	WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = {{ name | sql }}) \gexec
SELECT format('ALTER DATABASE %I OWNER TO %I', {{ name | sql }}, {{ database.owner | sql }}) \gexec
{% if database.extensions is defined and database.extensions %}
\connect {{ name | sql }}
{% for extension in database.extensions %}
SELECT format('CREATE EXTENSION IF NOT EXISTS %I', {{ extension | sql }}) \gexec
{% endfor %}
\connect postgres
{% endif %}
{% endfor %}
