"""The demo shop's customers and orders: the same 200 orders each time, invented, at addresses that do not exist."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.types.json import Jsonb

FIRST_ORDER = 1001
ORDERS = 200
NEWEST = datetime(2026, 8, 31, 17, 40, tzinfo=UTC)  # fixed, so that `rows` depends on the tenant alone

# name, mailbox, address. Mail goes to domains that are reserved for examples.
PEOPLE = (
    ("Zoë Brandt", "zoe.brandt@example.com", "Lindenstraße 18, 10969 Berlin, Germany"),
    ("Noah Williams", "noah.williams@example.com", "412 Juniper Street, Portland, OR 97205, USA"),
    ("Søren Kjær", "soeren.kjaer@example.org", "Vesterbrogade 76, 1620 København, Denmark"),
    ("Amara Okafor", "amara.okafor@example.net", "9 Adeola Odeku Street, Victoria Island, Lagos, Nigeria"),
    ("王秀英", "wang.xiuying@example.com", "上海市徐汇区淮海中路 1045 号 12 室, 200031, China"),
    ("Jürgen Weiß", "juergen.weiss@example.org", "Am Stadtgarten 4, 79098 Freiburg, Germany"),
    ("Ольга Смирнова", "olga.smirnova@example.net", "ул. Абая 52, кв. 17, 050008 Алматы, Kazakhstan"),
    ("José Antonio Muñoz", "ja.munoz@example.com", "Calle de Alcalá 203, 4º B, 28028 Madrid, Spain"),
    ("佐藤 健", "ken.sato@example.org", "東京都世田谷区北沢 2-19-5, 155-0031, Japan"),
    ("Fatima Zahra El Idrissi", "fz.elidrissi@example.net", "17 Rue Oued Ziz, Agdal, 10080 Rabat, Morocco"),
    ("Emily O’Connor", "emily.oconnor@example.com", "23 Parnell Square, Dublin 1, D01 T3V8, Ireland"),
    ("Nguyễn Thị Mai", "mai.nguyen@example.org", "88 Trần Hưng Đạo, Quận 1, Hồ Chí Minh, Vietnam"),
    ("محمد الحسن", "mohammed.alhassan@example.net", "شارع الملكة رانيا 45، عمّان 11183، Jordan"),
    ("Priya Raghunathan", "priya.r@example.com", "14 2nd Main Road, Indiranagar, Bengaluru 560038, India"),
    ("Łukasz Wiśniewski", "lukasz.w@example.org", "ul. Piękna 31/5, 00-677 Warszawa, Poland"),
    ("김서연", "seoyeon.kim@example.net", "서울특별시 마포구 와우산로 94, 04066, South Korea"),
    ("Olivia Tremblay", "olivia.tremblay@example.com", "1180 Rue Saint-Denis, Montréal, QC H2X 3J5, Canada"),
    ("Γιώργος Παπαδόπουλος", "g.papadopoulos@example.org", "Ερμού 61, 105 63 Αθήνα, Greece"),
    ("Ana Beatriz Carvalho", "ana.carvalho@example.net", "Rua Augusta 1508, apto 63, São Paulo 01304-001, Brazil"),
    ("Kwame Mensah", "kwame.mensah@example.com", "5 Oxford Street, Osu, Accra, Ghana"),
    ("İpek Yıldız", "ipek.yildiz@example.org", "Bağdat Caddesi 312, 34728 Kadıköy, İstanbul, Türkiye"),
    ("अनन्या शर्मा", "ananya.sharma@example.net", "27 सिविल लाइन्स, जयपुर 302006, India"),
    ("Liam Johansson", "liam.johansson@example.com", "Götgatan 44, 118 26 Stockholm, Sweden"),
    ("Chloé Lefèvre", "chloe.lefevre@example.org", "6 Rue des Martyrs, 75009 Paris, France"),
    ("נועה לוי", "noa.levi@example.net", "רחוב דיזנגוף 121, תל אביב 6346101, Israel"),
    ("Mateo Fernández", "mateo.fernandez@example.com", "Avenida Corrientes 2870, C1193 Buenos Aires, Argentina"),
    ("Тарас Шевчук", "taras.shevchuk@example.org", "вул. Саксаганського 29, 01033 Київ, Ukraine"),
    ("Aroha Ngata", "aroha.ngata@example.net", "57 Cuba Street, Te Aro, Wellington 6011, New Zealand"),
    ("Grace Mwangi", "grace.mwangi@example.com", "Argwings Kodhek Road 12, Nairobi 00100, Kenya"),
    ("Dániel Kovács", "daniel.kovacs@example.org", "Bartók Béla út 38, 1111 Budapest, Hungary"),
    ("ศิริพร จันทร์ดี", "siriporn.c@example.net", "129 ถนนสุขุมวิท, วัฒนา, กรุงเทพฯ 10110, Thailand"),
    ("Sofía Ramírez", "sofia.ramirez@example.com", "Calle Orizaba 89, Roma Norte, 06700 Ciudad de México, Mexico"),
    ("Ruth Anderson", "ruth.anderson@example.org", "3 Harbour View, Leith, Edinburgh EH6 6QN, United Kingdom"),
    ("Þóra Jónsdóttir", "thora.jonsdottir@example.net", "Laugavegur 27, 101 Reykjavík, Iceland"),
    ("陳家豪", "kahou.chan@example.com", "九龍旺角彌敦道 655 號 8 樓, Hong Kong"),
    ("Giulia Bianchi", "giulia.bianchi@example.org", "Via Santo Stefano 14, 40125 Bologna, Italy"),
    ("Tomáš Dvořák", "tomas.dvorak@example.net", "Vinohradská 112, 130 00 Praha 3, Czechia"),
    ("Isabella Rossi-Clarke", "isabella.rc@example.com", "770 Valencia Street, Apt 3, San Francisco, CA 94110, USA"),
    ("Pieter van den Berg", "pieter.vdberg@example.org", "Oudegracht 211, 3511 NJ Utrecht, Netherlands"),
    ("Ayşe Demir", "ayse.demir@example.net", "Kıbrıs Şehitleri Caddesi 53, 35220 İzmir, Türkiye"),
)

# What is sold, and the price of one.
GOODS = (
    ("Trail jacket, green, M", Decimal("149.00")),
    ("Trail jacket, navy, L", Decimal("149.00")),
    ("Down vest, rust, S", Decimal("98.50")),
    ("Merino base layer", Decimal("64.90")),
    ("Wool socks, 3 pairs", Decimal("25.00")),
    ("Hiking boots, size 42", Decimal("189.00")),
    ("Approach shoes, size 39", Decimal("119.00")),
    ("Rain cover, 30 l", Decimal("19.99")),
    ("Day pack, 24 l", Decimal("84.00")),
    ("Trekking pack, 55 l", Decimal("229.00")),
    ("Two-person tent", Decimal("312.00")),
    ("Sleeping mat, insulated", Decimal("108.00")),
    ("Down sleeping bag, -5 °C", Decimal("279.00")),
    ("Titanium mug, 450 ml", Decimal("29.50")),
    ("Gas stove, folding", Decimal("54.90")),
    ("Water filter", Decimal("42.75")),
    ("Head torch, 400 lm", Decimal("39.95")),
    ("Trekking poles, pair", Decimal("79.00")),
    ("Dry bags, set of 3", Decimal("27.40")),
    ("Map case", Decimal("12.80")),
)

# Orders that the README, the starters and the tests speak of: number -> customer, status, goods as (index, quantity).
KNOWN = {
    1041: (1, "delivered", ((10, 1), (11, 1))),  # 420.00
    1042: (2, "delivered", ((3, 1), (4, 1))),  # 89.90
    1043: (3, "processing", ((8, 1),)),
    1044: (11, "processing", ((5, 1), (4, 2))),
}
# Orders of which a part was refunded before anyone came: number -> amount, below the cheapest order.
REFUNDED = {1012: Decimal("10.00"), 1067: Decimal("12.50"), 1110: Decimal("5.00")}


@dataclass(frozen=True, kw_only=True)
class Customer:
    id: int
    name: str
    email: str
    address: str


@dataclass(frozen=True, kw_only=True)
class Order:
    number: int
    customer: Customer
    status: str
    placed_at: datetime
    items: tuple[dict[str, Any], ...]
    currency: str = "USD"

    @property
    def total(self) -> Decimal:
        return sum((Decimal(item["price"]) * item["quantity"] for item in self.items), Decimal(0))


@dataclass(frozen=True, kw_only=True)
class Rows:
    customers: tuple[Customer, ...]
    orders: tuple[Order, ...]
    refunds: tuple[tuple[int, Decimal], ...]


def rows(tenant_id: UUID) -> Rows:
    """Return the shop of one tenant; the same tenant always gets the same one."""
    customers = tuple(
        Customer(id=id_, name=name, email=email, address=address)
        for id_, (name, email, address) in enumerate(PEOPLE, start=1)
    )
    orders = tuple(_orders(customers, Random(tenant_id.int)))  # noqa: S311 - plausible, not secret
    return Rows(customers=customers, orders=orders, refunds=tuple(REFUNDED.items()))


def _orders(customers: tuple[Customer, ...], chance: Random) -> Iterator[Order]:
    for number in range(FIRST_ORDER, FIRST_ORDER + ORDERS):
        age = timedelta(hours=17 * (FIRST_ORDER + ORDERS - 1 - number), minutes=chance.randrange(600))
        customer_id, status, goods = KNOWN.get(number) or _drawn(number, chance)
        yield Order(
            number=number,
            customer=customers[customer_id - 1],
            status=status,
            placed_at=NEWEST - age,
            items=tuple(_item(index, quantity) for index, quantity in goods),
        )


def _drawn(number: int, chance: Random) -> tuple[int, str, tuple[tuple[int, int], ...]]:
    fresh = number > FIRST_ORDER + ORDERS - 25
    status = chance.choice(("processing", "processing", "shipped") if fresh else ("delivered",) * 8 + ("cancelled",))
    goods = chance.sample(range(len(GOODS)), chance.choice((1, 1, 2, 2, 3)))
    return chance.randint(1, len(PEOPLE)), status, tuple((index, chance.choice((1, 1, 1, 2))) for index in goods)


def _item(index: int, quantity: int) -> dict[str, Any]:
    name, price = GOODS[index]
    return {"name": name, "quantity": quantity, "price": str(price)}


def plant(connection: Connection[Any], tenant_id: UUID) -> None:
    """Put the shop into the tables, as their owner. What is there already stays as people have changed it."""
    shop = rows(tenant_id)
    with connection.transaction(), connection.cursor() as cursor:
        # FORCE binds the owner as well. Only for this transaction: the connection may be somebody's.
        cursor.execute("select set_config('app.tenant_id', %s, true)", [str(tenant_id)])
        cursor.executemany(
            "insert into shop.customers (tenant_id, id, name, email) values (%s, %s, %s, %s) on conflict do nothing",
            [(tenant_id, each.id, each.name, each.email) for each in shop.customers],
        )
        cursor.executemany(INSERT_ORDER, [_order_values(tenant_id, each) for each in shop.orders])
        cursor.executemany(
            "insert into shop.refunds (tenant_id, order_number, amount, reason, idempotency_key)"
            " values (%s, %s, %s, %s, %s) on conflict do nothing",
            [(tenant_id, number, amount, "Late delivery", f"seed-{number}") for number, amount in shop.refunds],
        )


INSERT_ORDER = """
    insert into shop.orders (tenant_id, number, customer_id, status, total, currency, placed_at, address, items)
    values (%s, %s, %s, %s, %s, %s, %s, %s, %s) on conflict do nothing
"""


def _order_values(tenant_id: UUID, order: Order) -> tuple[Any, ...]:
    customer = order.customer
    parts = (order.number, customer.id, order.status, order.total, order.currency, order.placed_at, customer.address)
    return (tenant_id, *parts, Jsonb(list(order.items)))
