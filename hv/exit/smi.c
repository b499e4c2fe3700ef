/* SPDX-License-Identifier: MIT */
/*
 * SMIs. Intercepted, one stays pending until GIF is 1 [APM2 15.13.3]; the firmware then serves it
 * as on the bare machine, outside the guest. QEMU would run it inside, under our intercepts. An NMI
 * may come through the same window: it is the guest's, and is sent once more.
 */
#include "boot/exception.h"
#include "cpu/apic.h"
#include "exit/exit.h"

void exit_smi(struct guest *g)
{
	(void)g;
	if (exception_window())
		apic_send_nmi();
}
