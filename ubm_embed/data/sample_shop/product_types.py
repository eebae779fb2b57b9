"""What the sample shop sells: its types of product. All of it made up.

Few and common words on purpose: a small WordPiece vocabulary covers them, and a CPU reads the short texts quickly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProductType:
    """A kind of product.

    Attributes:
        category: as the shop writes it, "Department > Group"; several types may share one.
        name: as in titles.
        synonyms: what shoppers type instead of the name.
        attributes: two or three names out of `VALUES`; the first is the style, which titles show.
        price: of a typical product of a brand of tier 1.
        complements: names of types that belong in the same cart.
    """

    category: str
    name: str
    synonyms: tuple[str, ...]
    attributes: tuple[str, ...]
    price: float
    complements: tuple[str, ...]

    @property
    def department(self) -> str:
        """First part of the category."""
        return self.category.split(" > ")[0]


# [category], and below it its types: name; synonyms; attributes; price; complements
_TABLE = """
[Shoes > Running]
trail running shoes; trail runners, running shoes; colour, upper, shoe size; 110; sports socks, running belt
road running shoes; running shoes, joggers; colour, upper, shoe size; 105; sports socks, running tights
[Shoes > Casual]
canvas sneakers; sneakers, plimsolls; colour, shoe size; 60; everyday socks, shoe care kit
slip-on loafers; loafers, slip ons; colour, upper, shoe size; 85; shoe care kit, leather belt
[Shoes > Boots]
hiking boots; walking boots, mountain boots; colour, upper, shoe size; 150; sports socks, shoe care kit
ankle boots; short boots, boots; colour, upper, shoe size; 120; shoe care kit, everyday socks
[Shoes > Care]
shoe care kit; shoe polish, shoe cleaner; colour, material; 14;
[Clothing > Running]
running tights; leggings, running leggings; colour, size, feature; 45; sports socks, running belt
running belt; phone belt, hip belt; colour, feature; 22;
[Clothing > Jackets]
rain jacket; raincoat, rain coat; colour, size, feature; 95; merino sweater
down jacket; winter jacket, puffer; colour, size, feature; 160; knit beanie
[Clothing > Tops]
merino sweater; wool jumper, pullover; colour, size; 75; knit beanie
linen shirt; summer shirt, shirt; colour, size; 50; leather belt
[Clothing > Accessories]
sports socks; running socks, socks; colour, fabric, size; 12;
everyday socks; socks, cotton socks; colour, fabric, size; 9;
leather belt; belt; colour, size; 35;
knit beanie; winter hat, hat; colour, fabric; 20;
[Kitchen > Coffee]
espresso machine; coffee machine, espresso maker; colour, finish, power; 420; coffee beans, coffee grinder, milk frother
coffee grinder; bean grinder, coffee mill; colour, material; 95; coffee beans
milk frother; milk foamer, frother; colour, power; 38;
coffee beans; whole bean coffee, coffee; roast, origin, weight; 15;
[Kitchen > Cooking]
frying pan; skillet, pan; colour, finish, length; 48; spatula set
chef knife; kitchen knife, cook knife; colour, finish, length; 70; cutting board, knife sharpener
cutting board; chopping board; colour, material; 30;
knife sharpener; sharpening stone, sharpener; colour, material; 24;
spatula set; turner, cooking spoons; colour, material; 18;
[Electronics > Phones]
smartphone; mobile phone, phone; colour, storage; 480; phone case, screen protector, fast charger
phone case; phone cover, mobile case; colour, fit, material; 22; screen protector
screen protector; screen glass, display film; colour, fit; 13;
[Electronics > Power]
fast charger; usb charger, charging plug; colour, power; 28; power bank
power bank; portable charger, battery pack; colour, power, connection; 42;
[Electronics > Audio]
wireless earbuds; earbuds, in ear headphones; colour, feature; 110; earbuds pouch
studio headphones; headphones, over ear headphones; colour, connection; 150;
earbuds pouch; headphone case, earbuds case; colour, material; 15;
[Electronics > Office]
mechanical keyboard; keyboard, gaming keyboard; colour, connection; 95; computer mouse, desk pad
computer mouse; mouse, gaming mouse; colour, connection; 45; desk pad
desk pad; mouse mat, mouse pad; colour, size; 17;
[Fitness > Yoga]
yoga mat; exercise mat, gym mat; colour, thickness; 38; yoga block, foam roller
yoga block; yoga brick; colour, material; 13;
[Fitness > Training]
foam roller; massage roller, roller; colour, length; 26;
dumbbell pair; dumbbells, hand weights; colour, weight; 45; training gloves, yoga mat
training gloves; gym gloves, lifting gloves; colour, size; 19;
[Fitness > Rackets]
tennis racket; racquet, racket; colour, size; 120; tennis balls
tennis balls; tennis ball tube; colour, pack; 8;
[Outdoor > Camping]
camping tent; tent, trekking tent; colour, persons, feature; 210; sleeping bag, headlamp
sleeping bag; down sleeping bag, camp bed; colour, size; 110; camping mat
camping mat; sleeping pad, air mattress; colour, thickness; 55;
headlamp; head torch, head light; colour, power; 34;
[Outdoor > Hiking]
hiking backpack; rucksack, backpack; colour, capacity, feature; 125; water bottle, trekking poles
trekking poles; walking sticks, hiking poles; colour, material; 62;
water bottle; drinking bottle, flask; colour, material, bottle size; 21;
[Home > Lighting]
table lamp; desk lamp, lamp; colour, material; 58; light bulb
light bulb; led bulb, bulb; warmth, power; 9;
[Home > Bedroom]
duvet cover; bed linen, quilt cover; colour, fabric, size; 65; pillow case, wool blanket
pillow case; pillow cover; colour, fabric; 16;
[Home > Living]
wool blanket; throw, blanket; colour, size; 70; throw pillow
throw pillow; cushion, sofa pillow; colour, fabric; 28;
scented candle; candle; scent, colour; 19;
[Beauty > Skin]
face cream; moisturiser, day cream; skin, scent, volume; 29; face serum, face wash
face serum; serum; skin, volume; 36;
face wash; cleanser, face soap; skin, scent, volume; 15;
[Beauty > Hair]
shampoo; hair wash; hair, scent, volume; 12; conditioner
conditioner; hair balm, hair mask; hair, scent, volume; 13;
hair dryer; blow dryer, hairdryer; colour, power; 60; hair brush
hair brush; brush; colour, material; 17;
"""


def _types(table: str) -> Iterator[ProductType]:
    category = ""
    for line in table.strip().splitlines():
        if line.startswith("["):
            category = line[1:-1]
        else:
            name, synonyms, attributes, price, complements = (cell.strip() for cell in line.split(";"))
            yield ProductType(category, name, _words(synonyms), _words(attributes), float(price), _words(complements))


def _words(cell: str) -> tuple[str, ...]:
    return tuple(cell.split(", ")) if cell else ()


TYPES = tuple(_types(_TABLE))
