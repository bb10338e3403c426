-- What the service keeps. A payment has a number of its own, so nothing here holds off a second one of the same flight.
\set ON_ERROR_STOP on
create table payments (id bigserial primary key, flight_id text not null, amount int not null, paid_at timestamptz not null default now());
create table handled (flight_id text primary key);
