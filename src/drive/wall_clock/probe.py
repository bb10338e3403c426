import sys, threading, time
for question in iter(sys.stdin.readline, ''):
    word, milliseconds = question.split()
    if word == 'sleep':
        time.sleep(int(milliseconds) / 1000)
    elif word == 'wait':
        threading.Event().wait(int(milliseconds) / 1000)
    print(time.time_ns() // 1000, flush=True)
