/* Dates to day numbers and back, in the proleptic Gregorian calendar. Years are counted from 1
 * March, so that the leap day is a year's last; then the days before a month are a linear function
 * of it (Howard Hinnant, "chrono-compatible low-level date algorithms"). */
#include "slot.h"

#include <stddef.h>
#include <string.h>

enum {
    MINUTES_PER_DAY = 24 * 60,
    DAYS_PER_ERA = 146097, /* 400 years */
    DAYS_TO_1970 = 719468, /* from 0000-03-01 */
};

_Static_assert((SLOT_YEAR_MAX - SLOT_YEAR_MIN + 1) * UINT64_C(366) * MINUTES_PER_DAY < UINT32_MAX,
               "32 bits count the minutes");

static uint32_t days_of(unsigned year, unsigned month, unsigned day)
{
    unsigned y = month <= 2 ? year - 1 : year;
    unsigned era = y / 400, year_of_era = y % 400;
    unsigned month_from_march = (month + 9) % 12;
    unsigned day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    unsigned day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * DAYS_PER_ERA + day_of_era - DAYS_TO_1970;
}

static void date_of(uint32_t days, unsigned *year, unsigned *month, unsigned *day)
{
    unsigned z = days + DAYS_TO_1970;
    unsigned era = z / DAYS_PER_ERA, day_of_era = z % DAYS_PER_ERA;
    unsigned year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned month_from_march = (5 * day_of_year + 2) / 153;
    *day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    *month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
    *year = era * 400 + year_of_era + (*month <= 2);
}

static unsigned days_in_month(unsigned year, unsigned month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && leap ? 29 : days[month - 1];
}

static bool number(const char *text, size_t digits, unsigned *value)
{
    *value = 0;
    for (size_t i = 0; i < digits; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        *value = *value * 10 + (unsigned)(text[i] - '0');
    }
    return true;
}

bool slot_parse(const char *text, uint32_t *minute)
{
    unsigned year, month, day, hour, min;
    if (strnlen(text, SLOT_TEXT_LEN + 1) != SLOT_TEXT_LEN)
        return false;
    if (text[4] != '-' || text[7] != '-' || text[10] != 'T' || text[13] != ':' || text[16] != 'Z')
        return false;
    if (!number(text, 4, &year) || !number(text + 5, 2, &month) || !number(text + 8, 2, &day) ||
        !number(text + 11, 2, &hour) || !number(text + 14, 2, &min))
        return false;
    if (year < SLOT_YEAR_MIN || month < 1 || month > 12 || day < 1 ||
        day > days_in_month(year, month) || hour > 23 || min > 59)
        return false;
    *minute = days_of(year, month, day) * MINUTES_PER_DAY + hour * 60 + min;
    return true;
}

static char *put(char *to, unsigned value, size_t digits)
{
    for (size_t i = digits; i-- > 0; value /= 10)
        to[i] = (char)('0' + value % 10);
    return to + digits;
}

void slot_format(uint32_t minute, char text[SLOT_TEXT_LEN + 1])
{
    unsigned year, month, day, of_day = minute % MINUTES_PER_DAY;
    date_of(minute / MINUTES_PER_DAY, &year, &month, &day);
    text = put(text, year, 4);
    *text++ = '-';
    text = put(text, month, 2);
    *text++ = '-';
    text = put(text, day, 2);
    *text++ = 'T';
    text = put(text, of_day / 60, 2);
    *text++ = ':';
    text = put(text, of_day % 60, 2);
    *text++ = 'Z';
    *text = '\0';
}
