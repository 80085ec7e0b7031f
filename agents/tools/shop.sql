-- The demo shop: a stand-in for the systems that real tools talk to. Applied by `seed_demo` as the tables' owner;
-- safe to repeat, and one statement to PostgreSQL (a simple query), so nobody sees a table between its policies.
--
-- Keys carry the tenant, because foreign keys do not look at row-level security.

create schema if not exists shop;

create table if not exists shop.customers (
    tenant_id uuid not null,
    id integer not null,
    name text not null,
    email text not null,
    primary key (tenant_id, id)
);

create table if not exists shop.orders (
    tenant_id uuid not null,
    number integer not null,
    customer_id integer not null,
    status text not null,
    total numeric(12, 2) not null,
    currency text not null,
    placed_at timestamptz not null,
    address text not null,
    items jsonb not null, -- [{"name", "quantity", "price"}], the price of one
    closing_reason text not null default '',
    primary key (tenant_id, number),
    foreign key (tenant_id, customer_id) references shop.customers (tenant_id, id),
    constraint order_has_a_known_status check (status in ('processing', 'shipped', 'delivered', 'cancelled')),
    constraint order_costs_something check (total > 0)
);

create table if not exists shop.refunds (
    tenant_id uuid not null,
    id bigint generated always as identity,
    order_number integer not null,
    amount numeric(12, 2) not null,
    reason text not null,
    idempotency_key text not null,
    created_at timestamptz not null default now(),
    primary key (tenant_id, id),
    foreign key (tenant_id, order_number) references shop.orders (tenant_id, number),
    constraint refund_is_counted_once unique (tenant_id, idempotency_key),
    constraint refund_gives_something check (amount > 0)
);

-- For the sum of an order's refunds, taken under the order's lock.
create index if not exists refunds_of_an_order on shop.refunds (tenant_id, order_number);

-- The mail provider. It takes no key: two sendings of one mail are two rows, as they would be two mails.
create table if not exists shop.outbox (
    tenant_id uuid not null,
    id bigint generated always as identity,
    recipient text not null,
    subject text not null,
    body text not null,
    idempotency_key text not null,
    created_at timestamptz not null default now(),
    primary key (tenant_id, id)
);

alter table shop.customers enable row level security;
alter table shop.customers force row level security;
drop policy if exists tenant_isolation on shop.customers;
create policy tenant_isolation on shop.customers
    using (tenant_id = (select nullif(current_setting('app.tenant_id', true), '')::uuid))
    with check (tenant_id = (select nullif(current_setting('app.tenant_id', true), '')::uuid));

alter table shop.orders enable row level security;
alter table shop.orders force row level security;
drop policy if exists tenant_isolation on shop.orders;
create policy tenant_isolation on shop.orders
    using (tenant_id = (select nullif(current_setting('app.tenant_id', true), '')::uuid))
    with check (tenant_id = (select nullif(current_setting('app.tenant_id', true), '')::uuid));

alter table shop.refunds enable row level security;
alter table shop.refunds force row level security;
drop policy if exists tenant_isolation on shop.refunds;
create policy tenant_isolation on shop.refunds
    using (tenant_id = (select nullif(current_setting('app.tenant_id', true), '')::uuid))
    with check (tenant_id = (select nullif(current_setting('app.tenant_id', true), '')::uuid));

alter table shop.outbox enable row level security;
alter table shop.outbox force row level security;
drop policy if exists tenant_isolation on shop.outbox;
create policy tenant_isolation on shop.outbox
    using (tenant_id = (select nullif(current_setting('app.tenant_id', true), '')::uuid))
    with check (tenant_id = (select nullif(current_setting('app.tenant_id', true), '')::uuid));
